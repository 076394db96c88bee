"""The notebook side: parameters, form, the `Mesh` a notebook holds, the record of findings."""
