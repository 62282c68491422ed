"""Find or fetch regional CSVs: a folder, an archive, Kaggle, the EIA, a synthetic set."""
