"""How a comparison looks: the table on the console, and a page of HTML with pictures."""
