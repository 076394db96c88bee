"""How things look: tables, charts and findings as text, HTML and plotly JSON in one mimebundle."""
