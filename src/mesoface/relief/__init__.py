"""Mesoscopic relief: pores and fine wrinkles, predicted from the texture where measuring ends."""
