"""Long connections: subscriptions, and the WebSockets on which any operation runs.

websocket.py          one WebSocket: its handshake and frames below, ASGI above
messages.py           the messages of graphql-transport-ws, as text and as values
conversation.py       the rules of graphql-transport-ws: what may come when; no input or output
socket.py             a connection that speaks graphql-transport-ws
subscriptions.py      from a request to the answers to its events, whatever carries them
events.py             a subscription as a stream over HTTP: Server-Sent Events, and Apollo's multipart form
sharing.py            one answer for all subscribers who select the same
long_connections.py   what is open in this process: limits for each credential, and its end with the credential
"""
