"""The plan as files that runtimes accept: one small file per runtime."""
