"""Models answer over HTTP: the API, and the page that talks to it.

A request walks through ``middleware`` (who may come in, how much at once) and ``api`` (what was asked);
``process_pool`` decodes films in processes of their own, ``batching`` puts them before the network, and
``schemas`` is what goes back. ``server`` opens and closes the house.
"""
