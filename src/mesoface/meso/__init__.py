"""Mesoscopic detail (wrinkles, pores) predicted from texture."""

from mesoface.meso.generator import MesoGenerator

__all__ = ["MesoGenerator"]
