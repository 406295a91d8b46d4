"""Errors of Azure, parsed, classified and translated to `rollway.errors`."""
