"""The pure part: what to do, decided from values alone. No Prefect, Azure, HTTP, files, clock or random in here."""
