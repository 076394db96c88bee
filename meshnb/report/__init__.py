"""An executed notebook as a report. The only package that imports papermill and nbconvert."""
