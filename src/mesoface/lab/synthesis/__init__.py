"""Captures with ground truth, made from a face model and procedural skin.

:mod:`.capture` photographs a head, at rest or in motion, :mod:`.folder` writes such captures and sequences,
:mod:`.dataset` makes training sets of them, :mod:`.settings` has the choices. A head is made by :mod:`.head`,
:mod:`.missing_parts`, :mod:`.skin` and :mod:`.pigment`, and put together in :mod:`.subject`; :mod:`.scene`
lights it and :mod:`.cameras` photographs it.
"""
