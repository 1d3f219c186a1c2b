"""Models answer over HTTP: the API, and the page that talks to it.

A request walks through ``door`` (who may come in, how much at once) and ``api`` (what was asked);
``workers`` decode films in processes of their own, ``batches`` puts them before the network, and
``answers`` is what goes back. ``server`` opens and closes the house.
"""
