"""The files of a rollout folder, read and checked without the SDK: importing that takes seconds."""
