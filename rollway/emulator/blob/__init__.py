"""Azure Blob Storage: the account that holds uploaded models and code."""
