"""The service: `lesionlab serve`. A request goes through `guard`, `uploads`, `engine` and `app`, in this order.

Nothing is kept: bodies stay in memory for the time of their request, and neither images nor their names are written or logged.
"""
