"""The service: `lesionlab serve`. A request goes through `guard`, then `app`, which calls `uploads` and `engine`.

Nothing is kept: bodies stay in memory for the time of their request, and neither images nor their names are written or logged.
"""
