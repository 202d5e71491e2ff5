"""Analysis: arithmetic on similarities and judgments; knows neither torch nor the store."""
