"""Reports: plots and pages for people."""
