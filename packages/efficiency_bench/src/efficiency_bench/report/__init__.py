"""One page that shows every claim, table and figure with the runs behind it, and works without a network.

Libraries for tables, with their minified size:

- **DataTables 3.1** (124 kB, MIT; it lies in `assets/datatables`, from npm's `datatables.net`): it works on the page's own
  `<table>`, so that captions, heads of rows and groups of columns stay, also without JavaScript. Heads are buttons, with
  `aria-sort`. Its style sheet (30 kB) is not used.
- simple-datatables 10.3 (103 kB): draws the table anew from its own copy; no heads over groups of columns.
- Grid.js 6.2 (53 kB): draws the table anew from arrays; no heads of rows, no groups in the head that it can sort.
- Tabulator 6.5 (448 kB): builds a grid of `<div>`, which a screen reader follows by roles alone.
- itables 2.9 (one DataTables bundle of more than 600 kB): makes the table from a data frame, cells with buttons included as
  text that is not escaped.

Libraries for charts: Vega with Vega-Lite and vega-embed (832 kB; altair 6.3 needs vl-convert-python to put them into a page) and
plotly (the basic bundle 1,192 kB) draw points that no key reaches, and a colour scheme is chosen when the chart is made.
The page's own SVG (about 10 kB a chart; matplotlib chooses the ticks) has points that are buttons with names, and takes its
colours from the style sheet.
"""
