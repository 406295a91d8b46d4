"""Commands of `rollway` by topic; `rollway.cli` puts them together."""
