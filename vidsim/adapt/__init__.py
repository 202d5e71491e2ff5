"""Fine-tuning towards human judgments."""
