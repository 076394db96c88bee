// Unpacks plotly, which the page carries compressed, and draws the charts over their static pictures.
(async () => {
  const packed = document.getElementById("plotly");
  const charts = document.querySelectorAll(".chart");
  if (!packed || !charts.length || !window.DecompressionStream) return;
  const bytes = Uint8Array.from(atob(packed.textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  if (!window.Plotly) return;

  const MARK = "#cc4b57"; // as in views/plot.py

  // Colours as the style sheet has them now, so that plotly follows light and dark.
  const ink = (chart) => {
    const probe = document.createElement("i");
    chart.append(probe);
    const read = (name) => ((probe.style.color = `var(${name})`), getComputedStyle(probe).color);
    const colors = { fg: read("--fg"), dim: read("--dim"), line: read("--line"), fail: read("--fail") };
    probe.remove();
    return colors;
  };

  const draw = async (chart) => {
    const { data, layout } = JSON.parse(chart.querySelector("script[type='application/json']").textContent);
    const colors = ink(chart);
    layout.font = { ...layout.font, color: colors.fg, family: getComputedStyle(document.body).fontFamily };
    delete layout.width; // that of the page
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    if (chart.querySelector("figcaption") && layout.margin) {
      // the caption stands above already
      const room = layout.title?.text ? 28 : 0;
      delete layout.title;
      layout.margin.t -= room;
      if (layout.height) layout.height -= room;
    }
    for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
      const axis = layout[name];
      if (axis.gridcolor !== "rgba(0,0,0,0)") axis.gridcolor = colors.line;
      axis.linecolor = colors.dim;
      axis.tickfont = { ...axis.tickfont, color: axis.gridcolor === colors.line ? colors.dim : colors.fg };
    }
    // what meshnb marks as a limit follows the page; shapes and notes of other figures keep their colours
    for (const { line } of layout.shapes || []) if (line?.color === MARK) line.color = colors.fail;
    for (const { font } of layout.annotations || []) if (font?.color === MARK) font.color = colors.fail;
    const live = chart.querySelector(".live");
    await Plotly.react(live, data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
    chart.classList.add("drawn");
  };

  const drawAll = async () => {
    for (const chart of charts) {
      try {
        await draw(chart);
      } catch (error) {
        console.error("chart not drawn, its static picture stays:", error);
      }
    }
    document.documentElement.dataset.charts = document.querySelectorAll(".chart.drawn").length;
  };
  await drawAll();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
})();
