"""Dwarf spheroidal galaxies: from three coordinates of their stars to the dark halo."""
