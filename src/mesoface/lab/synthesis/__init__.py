"""Captures with ground truth, made from a face model and procedural skin.

:mod:`.capture` photographs a head, at rest or in motion, and writes such captures and sequences,
:mod:`.dataset` makes training sets of them, :mod:`.settings` has the choices. :mod:`.head` makes a head and
:mod:`.skin` its relief and colour, with the landmarks and tools of :mod:`.anatomy`; :mod:`.subject` puts them
together, :mod:`.scene` lights it and :mod:`.cameras` photographs it.
"""
