"""Raw documents to DataFrames: pure functions, a module per table family."""
