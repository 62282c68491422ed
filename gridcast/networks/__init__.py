"""The networks: recurrent layers, heads, what goes in and comes out. Not how they are fitted."""
