"""HTTP: connections and bytes, requests and answers, and the endpoint between them.

protocol.py, framing.py, flow.py   one connection, over uvicorn's protocol
heads.py, requests.py       what a client sends: heads and bodies
endpoint.py                 from a request to its answer
sites.py, origins.py, hosts.py   pages and hosts that may send requests
admission.py, budgets.py, throttle.py, connections.py   limits for each credential and for the process
encodings.py, preferences.py, statuses.py   compression, media types, statuses
playground.py               the page for browsers
"""
