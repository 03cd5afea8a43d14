"""Edits of the residual stream: read-outs, the solver, the cap, the trace."""
