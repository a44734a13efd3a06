"""The strategy for tensor parallel, copies, rules and several pressures, at every size."""
