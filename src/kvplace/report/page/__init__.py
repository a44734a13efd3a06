"""A plan as one page for people: what it says, its charts, and the page in Markdown."""
