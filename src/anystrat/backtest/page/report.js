"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const PALETTE = ["#3f83c8", "#c9821b", "#9558c2", "#c54f7c", "#5b9b3c", "#1d98ad", "#a8623a", "#74808c"];
  const PAPER = { ink: "#111", quiet: "#555", line: "#ccc", accent: "#0f766e", gain: "#0b7a55", loss: "#b93a1e", hold: "#777", warn: "#8a5a00", card: "#fff" };

  // ---- numbers ------------------------------------------------------------------------------------------------
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const floats = (text) => new Float32Array(bytes(text));
  const doubles = (text) => new Float64Array(bytes(text));
  const grouped = (value, digits) => value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const signed = (text, value) => (value > 0 ? "+" : value < 0 ? "−" : "") + text;
  const money = (v) => signed(grouped(Math.abs(v), Math.abs(v) >= 1000 ? 0 : 2), v);
  const percent = (v, digits = 2) => signed(grouped(Math.abs(v) * 100, digits), v) + "%";
  const price = (v) => grouped(v, Math.abs(v) >= 1000 ? 2 : Math.abs(v) >= 1 ? Math.abs(v) >= 100 ? 2 : 4 : 6);
  const firstAtLeast = (values, wanted) => {
    let low = 0, high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (values[middle] < wanted) low = middle + 1; else high = middle;
    }
    return low;
  };

  // ---- time: pauses without ticks take no room ------------------------------------------------------------------
  const starts = data.pauses.map((p) => p[0]), ends = data.pauses.map((p) => p[1]);
  const removed = [0];
  for (let k = 0; k < starts.length; k++) removed.push(removed[k] + ends[k] - starts[k]);
  const seams = starts.map((start, k) => start - removed[k]);
  const toAxis = (t) => {
    const k = firstAtLeast(ends, t);
    return Math.min(t, k < starts.length ? starts[k] : t) - removed[k];
  };
  const toTime = (x) => x + removed[firstAtLeast(seams, x)];
  const whole = Math.max(toAxis(data.span), 1e-3);
  let view = [0, whole], hover = null, printing = false;

  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const two = (n) => String(n).padStart(2, "0");
  const date = (t) => new Date(data.t0 + t);
  const day = (d) => `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`;
  const clock = (d, step) => `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}` + (step < 6e4 ? `:${two(d.getUTCSeconds())}` : "") + (step < 1e3 ? `.${String(d.getUTCMilliseconds()).padStart(3, "0")}` : "");
  const moment = (t) => {
    const d = date(t), span = view[1] - view[0];
    const text = `${day(d)} ${d.getUTCFullYear()}`;
    return span > 400 * 864e5 ? text : `${text} ${clock(d, span < 6e5 ? (span < 5e3 ? 1 : 1e3) : 1e3)}`;
  };
  const STEPS = [1, 5, 10, 50, 100, 500, 1e3, 5e3, 15e3, 3e4, 6e4, 3e5, 9e5, 18e5, 36e5, 108e5, 216e5, 432e5, 864e5, 2 * 864e5, 7 * 864e5];
  const nextTick = (t, step) => {
    if (step <= 7 * 864e5) return Math.ceil((data.t0 + t) / step) * step - data.t0;
    const months = Math.round(step / 2.63e9), d = date(t);
    let at = d.getUTCFullYear() * 12 + d.getUTCMonth();
    at = Math.ceil(at / months) * months;
    let found = Date.UTC(Math.floor(at / 12), at % 12, 1) - data.t0;
    if (found < t) found = Date.UTC(Math.floor((at + months) / 12), (at + months) % 12, 1) - data.t0;
    return found;
  };
  const timeTicks = (width) => {
    const span = view[1] - view[0], room = width < 480 ? 78 : 96;
    const wanted = (span / Math.max(1, width)) * room;
    const step = STEPS.find((s) => s >= wanted) || [1, 3, 6, 12, 24, 60, 120].map((m) => m * 2.63e9).find((s) => s >= wanted) || 240 * 2.63e9;
    const found = [];
    let x = view[0], before = null;
    for (let n = 0; n < 60 && x <= view[1]; n++) {
      const t = nextTick(toTime(x), step), at = toAxis(t);
      if (at > view[1]) break;
      const d = date(t);
      let text;
      if (step > 7 * 864e5) text = step >= 11 * 2.63e9 ? `${d.getUTCFullYear()}` : before !== null && before.getUTCFullYear() === d.getUTCFullYear() ? MONTHS[d.getUTCMonth()] : `${MONTHS[d.getUTCMonth()]} ${d.getUTCFullYear()}`;
      else if (step >= 864e5) text = day(d);
      else text = before === null || before.getUTCDate() !== d.getUTCDate() ? `${day(d)} ${clock(d, step)}` : clock(d, step);
      found.push([at, text]);
      before = d;
      x = at + (span / width) * room * 0.9 + 1e-6;
    }
    return found;
  };
  const valueTicks = (low, high, count) => {
    const raw = (high - low) / (count + 1) || 1, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
    const found = [];
    for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
    return [found, step];
  };

  const logTicks = (low, high) => {
    const found = [], few = Math.log10(high / low) > 2.2;
    for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) for (const m of few ? [1] : [1, 2, 5]) if (m * power >= low && m * power <= high) found.push(m * power);
    return [found, 0];
  };
  const finely = (v, step) => grouped(v, Math.min(8, Math.max(0, -Math.floor(Math.log10((step || Math.abs(v) || 1) * 1.0001)) + (step && String(step).includes("25") ? 1 : 0))));

  // ---- charts --------------------------------------------------------------------------------------------------
  const theme = () => {
    if (printing) return PAPER;
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(Object.keys(PAPER).map((name) => [name, style.getPropertyValue("--" + name).trim()]));
  };
  const charts = [];
  const RIGHT = 62, BOTTOM = 20;

  class Chart {
    constructor(id, options) {
      this.canvas = byId(id);
      if (!this.canvas) return;
      Object.assign(this, { foot: BOTTOM, right: RIGHT, count: 4 }, options);
      this.still = document.createElement("canvas");
      this.tip = document.createElement("div");
      this.tip.className = "tip";
      this.tip.hidden = true;
      this.live = document.createElement("span");
      this.live.className = "skip";
      this.live.setAttribute("aria-live", "polite");
      this.canvas.parentNode.append(this.tip, this.live);
      charts.push(this);
      this.listen();
      new ResizeObserver(() => this.render()).observe(this.canvas);
    }
    x(at) { return ((at - view[0]) / (view[1] - view[0])) * this.width; }
    at(px) { return view[0] + (px / this.width) * (view[1] - view[0]); }
    y(value) {
      if (this.log) return this.top + (1 - Math.log(value / this.low) / Math.log(this.high / this.low)) * this.tall;
      return this.top + (1 - (value - this.low) / (this.high - this.low)) * this.tall;
    }

    render() {
      const scale = window.devicePixelRatio || 1, box = this.canvas.getBoundingClientRect();
      const w = Math.max(50, this.canvas.clientWidth || box.width), h = this.canvas.clientHeight || box.height;
      for (const each of [this.canvas, this.still]) { each.width = Math.round(w * scale); each.height = Math.round(h * scale); }
      this.width = w - this.right;
      this.top = 8;
      this.tall = h - this.foot - this.top;
      const c = this.still.getContext("2d");
      c.setTransform(scale, 0, 0, scale, 0, 0);
      c.clearRect(0, 0, w, h);
      c.font = "11px system-ui, sans-serif";
      const t = theme();
      let [low, high] = this.extent();
      if (!(high > low)) { const pad = Math.abs(high) * 1e-3 || 1; low -= pad; high += pad; }
      const pad = (high - low) * 0.06, part = (high / low) ** 0.05;
      this.log = Boolean(this.logs && this.logs() && low > 0);
      this.low = this.floor !== undefined ? this.floor : this.log ? low / part : low - pad;
      this.high = this.ceiling !== undefined ? this.ceiling : this.log ? high * part : high + pad;
      this.axes(c, t);
      c.save();
      c.beginPath();
      c.rect(0, 0, this.width, h - this.foot + 1);
      c.clip();
      this.paint(c, t);
      c.restore();
      this.show();
    }
    axes(c, t) {
      const [ticks, step] = this.log && this.high / this.low > 3 ? logTicks(this.low, this.high) : valueTicks(this.low, this.high, this.count);
      c.textBaseline = "middle";
      c.textAlign = "left";
      c.lineWidth = 1;
      for (const v of ticks) {
        const y = Math.round(this.y(v)) + 0.5;
        if (y < this.top - 2 || y > this.top + this.tall + 2) continue;
        c.strokeStyle = t.line;
        c.beginPath(); c.moveTo(0, y); c.lineTo(this.width, y); c.stroke();
        c.fillStyle = t.quiet;
        c.fillText(this.label(v, step), this.width + 8, y);
      }
      const visible = seams.filter((s) => s > view[0] && s < view[1]);
      if (visible.length <= 60) {
        c.strokeStyle = t.line;
        c.setLineDash([2, 3]);
        for (const s of visible) { const x = Math.round(this.x(s)) + 0.5; c.beginPath(); c.moveTo(x, this.top); c.lineTo(x, this.top + this.tall); c.stroke(); }
        c.setLineDash([]);
      }
      if (!this.foot) return;
      c.textBaseline = "alphabetic";
      c.textAlign = "center";
      c.fillStyle = t.quiet;
      for (const [at, text] of timeTicks(this.width)) {
        const half = c.measureText(text).width / 2;
        c.fillText(text, Math.min(Math.max(this.x(at), half), this.width + this.right - half), this.top + this.tall + 15);
      }
    }
    show() {
      const c = this.canvas.getContext("2d"), scale = window.devicePixelRatio || 1;
      c.setTransform(1, 0, 0, 1, 0, 0);
      c.clearRect(0, 0, this.canvas.width, this.canvas.height);
      c.drawImage(this.still, 0, 0);
      c.setTransform(scale, 0, 0, scale, 0, 0);
      const t = theme();
      if (this.drag && Math.abs(this.drag[1] - this.drag[0]) > 3) {
        c.globalAlpha = 0.14; c.fillStyle = t.accent;
        c.fillRect(Math.min(...this.drag), this.top, Math.abs(this.drag[1] - this.drag[0]), this.tall);
        c.globalAlpha = 1;
      }
      if (hover !== null && hover >= view[0] && hover <= view[1] && !printing) {
        const x = Math.round(this.x(hover)) + 0.5;
        c.strokeStyle = t.quiet; c.globalAlpha = 0.7; c.lineWidth = 1;
        c.beginPath(); c.moveTo(x, this.top); c.lineTo(x, this.top + this.tall); c.stroke();
        c.globalAlpha = 1;
        if (this.point) this.point(c, t);
      }
    }
    listen() {
      const canvas = this.canvas;
      const px = (e) => Math.min(Math.max(e.clientX - canvas.getBoundingClientRect().left, 0), this.width);
      canvas.addEventListener("pointerdown", (e) => {
        if (e.pointerType === "mouse" && e.button === 0) { this.drag = [px(e), px(e)]; canvas.setPointerCapture(e.pointerId); }
        hover = this.at(px(e)); this.pointer = [px(e), e.clientY - canvas.getBoundingClientRect().top]; follow(this);
      });
      canvas.addEventListener("pointermove", (e) => {
        if (this.drag) this.drag[1] = px(e);
        hover = this.at(px(e)); this.pointer = [px(e), e.clientY - canvas.getBoundingClientRect().top]; follow(this);
      });
      canvas.addEventListener("pointerup", () => {
        if (!this.drag) return;
        const [a, b] = this.drag.map((p) => this.at(p)).sort((m, n) => m - n);
        const far = Math.abs(this.drag[1] - this.drag[0]) > 6;
        this.drag = null;
        if (far) look(a, b); else follow(this);
      });
      canvas.addEventListener("pointercancel", () => { this.drag = null; });
      canvas.addEventListener("pointerleave", () => { if (!this.drag) { hover = null; this.pointer = null; follow(null); } });
      canvas.addEventListener("dblclick", () => look(0, whole));
      canvas.addEventListener("blur", () => { hover = null; follow(null); });
      canvas.addEventListener("keydown", (e) => {
        const span = view[1] - view[0], from = hover === null ? (view[0] + view[1]) / 2 : hover;
        const keys = {
          ArrowLeft: () => { hover = Math.max(view[0], from - span / 100); }, ArrowRight: () => { hover = Math.min(view[1], from + span / 100); },
          "+": () => look(from - span / 4, from + span / 4), "=": () => look(from - span / 4, from + span / 4),
          "-": () => look(from - span, from + span), 0: () => look(0, whole), Escape: () => look(0, whole),
        };
        if (!keys[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
        keys[e.key]();
        e.preventDefault();
        this.pointer = [this.x(hover === null ? from : hover), this.tall / 3];
        follow(this);
        this.live.textContent = this.tip.textContent;
      });
    }
  }

  let active = null, waiting = false;
  const redraw = () => charts.forEach((chart) => chart.render());
  const follow = (chart) => {
    active = chart;
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const each of charts) { each.show(); if (each !== active || hover === null) each.tip.hidden = true; }
      if (active && hover !== null && active.tell) place(active);
    });
  };
  const place = (chart) => {
    const rows = chart.tell(hover);
    chart.tip.replaceChildren();
    if (!rows) { chart.tip.hidden = true; return; }
    rows.forEach(([name, value, colour], at) => {
      const line = document.createElement("div"), left = document.createElement(at ? "span" : "b"), right = document.createElement("b");
      if (colour) { const mark = document.createElement("i"); mark.style.setProperty("--c", colour); left.append(mark); }
      left.append(name);
      right.textContent = value || "";
      line.append(left, right);
      chart.tip.append(line);
    });
    chart.tip.hidden = false;
    const x = chart.x(hover), wide = chart.tip.offsetWidth, room = chart.canvas.clientWidth;
    chart.tip.style.left = `${Math.max(0, x + 14 + wide > room ? x - wide - 14 : x + 14)}px`;
    chart.tip.style.top = `${Math.max(0, Math.min(chart.pointer ? chart.pointer[1] - 20 : 8, chart.canvas.clientHeight - chart.tip.offsetHeight))}px`;
  };
  const look = (a, b) => {
    const least = whole / 5e5;
    a = Math.max(0, a); b = Math.min(whole, b);
    if (b - a < least) { const middle = (a + b) / 2; a = Math.max(0, middle - least / 2); b = Math.min(whole, middle + least / 2); }
    view = [a, b];
    redraw();
  };

  // ---- curves -------------------------------------------------------------------------------------------------
  const opened = (raw) => {
    const t = doubles(raw.t);
    return { ...raw, x: t.map(toAxis), low: floats(raw.low), high: floats(raw.high), last: floats(raw.last), worst: raw.worst ? floats(raw.worst) : null };
  };
  const seen = (curve) => [Math.max(0, firstAtLeast(curve.x, view[0]) - 1), Math.min(curve.x.length, firstAtLeast(curve.x, view[1]) + 1)];
  const before = (curve, at) => Math.min(Math.max(0, firstAtLeast(curve.x, at + 1e-9) - 1), curve.x.length - 1);
  const stroke = (c, chart, curve, value, colour, width, dash) => {
    const [from, to] = seen(curve);
    if (to <= from) return;
    c.beginPath();
    let px = chart.x(curve.x[from]), py = chart.y(value(curve.last[from]));
    c.moveTo(px, py);
    for (let k = from + 1; k < to; k++) {
      const nx = chart.x(curve.x[k]), ny = chart.y(value(curve.last[k]));
      if (nx - px > 14) c.lineTo(nx, py); // a value holds until the next one
      c.lineTo(nx, ny);
      px = nx; py = ny;
    }
    c.lineTo(Math.max(px, chart.x(Math.min(view[1], whole))), py);
    c.strokeStyle = colour; c.lineWidth = width; c.lineJoin = "round"; c.setLineDash(dash || []);
    c.stroke();
    c.setLineDash([]);
  };
  const band = (c, chart, curve, value, colour) => {
    const [from, to] = seen(curve);
    c.strokeStyle = colour; c.lineWidth = 1; c.globalAlpha = 0.35;
    c.beginPath();
    for (let k = from; k < to; k++) {
      if (!(curve.high[k] > curve.low[k])) continue;
      const x = chart.x(curve.x[k]);
      c.moveTo(x, chart.y(value(curve.high[k]))); c.lineTo(x, chart.y(value(curve.low[k])));
    }
    c.stroke();
    c.globalAlpha = 1;
  };
  const spread = (curves) => {
    let low = Infinity, high = -Infinity;
    for (const [curve, value] of curves) {
      const [from, to] = seen(curve);
      for (let k = from; k < to; k++) {
        if (k > from || curve.x[k] >= view[0]) { low = Math.min(low, value(curve.low[k])); high = Math.max(high, value(curve.high[k])); }
        else { low = Math.min(low, value(curve.last[k])); high = Math.max(high, value(curve.last[k])); }
      }
    }
    return low <= high ? [low, high] : [0, 1];
  };
  const chip = (box, text, colour, on, press) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.style.setProperty("--c", colour);
    button.setAttribute("aria-pressed", String(on));
    button.addEventListener("click", () => {
      const now = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(now));
      press(now);
      redraw();
    });
    box.append(button);
  };

  // ---- equity, drawdown, navigator ----------------------------------------------------------------------------
  const accounts = data.accounts.map(opened);
  const main = accounts[0], hold = accounts[1];
  const range = (curve) => { let low = 0, high = 0; for (let k = 0; k < curve.x.length; k++) { low = Math.min(low, curve.low[k]); high = Math.max(high, curve.high[k]); } return (high - low) / curve.start; };
  const FAR = 25;
  accounts.forEach((one, k) => {
    one.colour = () => (one.kind === "portfolio" ? theme().accent : one.kind === "hold" ? theme().hold : PALETTE[(k - 2) % PALETTE.length]);
    one.on = one.kind === "portfolio" || (one.kind === "hold" && range(hold) < FAR * Math.max(range(main), 1e-12)) || (one.kind === "strategy" && accounts.length <= 10);
    const name = one.kind === "hold" ? "buy and hold" : one.name;
    chip(byId("equity-legend"), name, one.kind === "portfolio" ? "var(--accent)" : one.kind === "hold" ? "var(--hold)" : PALETTE[(k - 2) % PALETTE.length], one.on, (on) => { one.on = on; });
  });
  if (hold && hold.x.length && !hold.on) byId("equity-hint").textContent = `Buy and hold is switched off here, because it moves over ${FAR} times as far: press it to see it. `;
  let unit = "share";
  const valued = (one) => (unit === "share" ? (v) => v / one.start : (v) => v);
  const shown = () => accounts.filter((one) => one.on);
  if (main && main.x.length) {
    new Chart("equity", {
      foot: 4,
      label: (v, step) => (unit === "share" ? percent(v, step * 100 < 0.1 ? 3 : step * 100 < 1 ? 2 : step * 100 < 10 ? 1 : 0) : money(v)),
      extent() { return spread(shown().map((one) => [one, valued(one)])); },
      paint(c, t) {
        const zero = this.y(0);
        c.strokeStyle = t.quiet; c.globalAlpha = 0.5; c.beginPath(); c.moveTo(0, zero); c.lineTo(this.width, zero); c.stroke(); c.globalAlpha = 1;
        for (const one of shown().reverse()) {
          band(c, this, one, valued(one), one.colour());
          stroke(c, this, one, valued(one), one.colour(), one.kind === "portfolio" ? 2 : 1.3, one.kind === "hold" ? [5, 4] : null);
        }
      },
      point(c) {
        for (const one of shown()) {
          c.fillStyle = one.colour();
          c.beginPath(); c.arc(this.x(hover), this.y(valued(one)(one.last[before(one, hover)])), 3, 0, 7); c.fill();
        }
      },
      tell(at) {
        return [[moment(toTime(at)) + " UTC", ""], ...shown().slice(0, 12).map((one) => {
          const v = one.last[before(one, at)];
          return [one.kind === "hold" ? "buy and hold" : one.name, `${percent(v / one.start)}  ${money(v)}`, one.colour()];
        })];
      },
    });
    const depth = (one) => ({ ...one, low: one.worst, high: one.worst, last: one.worst });
    const deep = depth(main), deepHold = depth(hold);
    new Chart("drawdown", {
      count: 2, ceiling: 0,
      label: (v, step) => percent(v, step < 0.0005 ? 3 : step < 0.005 ? 2 : step < 0.05 ? 1 : 0),
      extent() {
        let worst = 0;
        for (const one of hold.on ? [deep, deepHold] : [deep]) { const [from, to] = seen(one); for (let k = from; k < to; k++) worst = Math.max(worst, one.worst[k]); }
        return [-(worst || 0.001), 0];
      },
      paint(c, t) {
        const [from, to] = seen(deep), top = this.y(0);
        c.beginPath();
        c.moveTo(this.x(deep.x[from]), top);
        let py = top, px = this.x(deep.x[from]);
        for (let k = from; k < to; k++) {
          const nx = this.x(deep.x[k]), ny = this.y(-deep.worst[k]);
          if (nx - px > 14) c.lineTo(nx, py);
          c.lineTo(nx, ny); px = nx; py = ny;
        }
        c.lineTo(Math.max(px, this.x(view[1])), py);
        c.lineTo(Math.max(px, this.x(view[1])), top);
        c.closePath();
        c.fillStyle = t.loss; c.globalAlpha = 0.22; c.fill(); c.globalAlpha = 1;
        stroke(c, this, deep, (v) => -v, t.loss, 1.3);
        if (hold.on) stroke(c, this, deepHold, (v) => -v, t.hold, 1, [4, 4]);
      },
      tell(at) {
        const rows = [[moment(toTime(at)) + " UTC", ""], [main.name, percent(-deep.worst[before(deep, at)]), theme().loss]];
        if (hold.on) rows.push(["buy and hold", percent(-deepHold.worst[before(deepHold, at)]), theme().hold]);
        return rows;
      },
    });
    for (const button of document.querySelectorAll("[data-unit]")) button.addEventListener("click", () => {
      unit = button.dataset.unit;
      for (const each of document.querySelectorAll("[data-unit]")) each.setAttribute("aria-pressed", String(each === button));
      redraw();
    });
    navigator();
  }

  function navigator() {
    const canvas = byId("navigator");
    let grip = null;
    const full = (at) => (at / whole) * canvas.clientWidth;
    const draw = () => {
      const scale = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight, t = theme();
      canvas.width = Math.round(w * scale); canvas.height = Math.round(h * scale);
      const c = canvas.getContext("2d");
      c.setTransform(scale, 0, 0, scale, 0, 0);
      let low = 0, high = 0;
      for (const v of main.last) { low = Math.min(low, v); high = Math.max(high, v); }
      const y = (v) => h - 5 - ((v - low) / (high - low || 1)) * (h - 10);
      c.beginPath();
      c.moveTo(0, h);
      for (let k = 0; k < main.x.length; k++) c.lineTo(full(main.x[k]), y(main.last[k]));
      c.lineTo(w, y(main.last[main.last.length - 1])); c.lineTo(w, h); c.closePath();
      c.fillStyle = t.accent; c.globalAlpha = 0.18; c.fill(); c.globalAlpha = 1;
      const [a, b] = view.map(full);
      c.fillStyle = t.card; c.globalAlpha = 0.72; c.fillRect(0, 0, a, h); c.fillRect(b, 0, w - b, h); c.globalAlpha = 1;
      c.strokeStyle = t.line; c.strokeRect(0.5, 0.5, w - 1, h - 1);
      c.strokeStyle = t.accent; c.lineWidth = 1.5; c.strokeRect(a + 0.75, 0.75, Math.max(2, b - a - 1.5), h - 1.5);
      c.fillStyle = t.accent;
      for (const edge of [a, b]) { c.beginPath(); c.roundRect(Math.min(Math.max(edge - 3, 0), w - 6), h / 2 - 9, 6, 18, 3); c.fill(); }
    };
    const px = (e) => Math.min(Math.max(e.clientX - canvas.getBoundingClientRect().left, 0), canvas.clientWidth);
    canvas.addEventListener("pointerdown", (e) => {
      const [a, b] = view.map(full), x = px(e), near = e.pointerType === "mouse" ? 8 : 18;
      canvas.setPointerCapture(e.pointerId);
      if (Math.abs(x - a) < near && (x < (a + b) / 2 || a > 1)) grip = { kind: "left" };
      else if (Math.abs(x - b) < near) grip = { kind: "right" };
      else if (x > a && x < b && b - a < canvas.clientWidth - 4) grip = { kind: "pan", x, view };
      else grip = { kind: "new", x };
    });
    canvas.addEventListener("pointermove", (e) => {
      if (!grip) return;
      const at = (px(e) / canvas.clientWidth) * whole, least = whole / 500;
      if (grip.kind === "left") look(Math.min(at, view[1] - least), view[1]);
      if (grip.kind === "right") look(view[0], Math.max(at, view[0] + least));
      if (grip.kind === "pan") {
        const span = grip.view[1] - grip.view[0], moved = ((px(e) - grip.x) / canvas.clientWidth) * whole;
        const a = Math.min(Math.max(0, grip.view[0] + moved), whole - span);
        look(a, a + span);
      }
      if (grip.kind === "new" && Math.abs(px(e) - grip.x) > 4) { const from = (grip.x / canvas.clientWidth) * whole; look(Math.min(from, at), Math.max(from, at)); }
    });
    const release = () => { grip = null; };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("dblclick", () => look(0, whole));
    canvas.addEventListener("keydown", (e) => {
      const span = view[1] - view[0];
      const to = { ArrowLeft: [view[0] - span / 10, view[1] - span / 10], ArrowRight: [view[0] + span / 10, view[1] + span / 10], "+": [view[0] + span / 4, view[1] - span / 4], "-": [view[0] - span / 2, view[1] + span / 2], 0: [0, whole], Escape: [0, whole] }[e.key];
      if (!to) return;
      e.preventDefault();
      if (e.key.startsWith("Arrow")) { const shift = Math.max(0, -to[0]) - Math.max(0, to[1] - whole); look(to[0] + shift, to[1] + shift); } else look(...to);
    });
    charts.push({ render: draw, show() {}, tip: { hidden: true } });
    new ResizeObserver(draw).observe(canvas);
  }

  // ---- price ---------------------------------------------------------------------------------------------------
  const instruments = data.instruments;
  const names = accounts.filter((one) => one.kind === "strategy").map((one) => one.name);
  const wanted = new Set(names.length ? names.keys() : [0]);
  let chosen = null, withDrops = true;
  let scaled = "linear";
  const rescale = (to) => {
    scaled = to;
    for (const each of document.querySelectorAll("[data-scale]")) each.setAttribute("aria-pressed", String(each.dataset.scale === to));
  };
  const choose = (k) => {
    const raw = instruments[k];
    chosen = opened(raw);
    const f = raw.fills;
    chosen.marks = { x: doubles(f.t).map(toAxis), price: floats(f.price), quantity: floats(f.quantity), after: floats(f.after), realised: floats(f.realised), account: f.account };
    rescale(Math.max(...chosen.high) > 5 * Math.min(...chosen.low) ? "log" : "linear");
    chosen.refused = raw.drops.map(([t, n]) => [toAxis(t), n]);
    const some = f.account.length < f.all ? `Shown: ${grouped(f.account.length, 0)} of ${grouped(f.all, 0)} fills, evenly thinned out. ` : "";
    byId("price-hint").textContent = some + "▲ bought, ▼ sold; filled: opens or adds to a position, hollow: closes or reduces one. Bars at the bottom: dropped signals.";
  };
  if (instruments.length) {
    const select = byId("instrument");
    instruments.forEach((one, k) => { const option = document.createElement("option"); option.value = k; option.textContent = one.symbol; select.append(option); });
    select.disabled = instruments.length < 2;
    select.addEventListener("change", () => { choose(Number(select.value)); redraw(); });
    for (const button of document.querySelectorAll("[data-scale]")) button.addEventListener("click", () => { rescale(button.dataset.scale); redraw(); });
    choose(0);
    const legend = byId("price-legend");
    if (names.length > 1) names.forEach((name, k) => chip(legend, name, PALETTE[k % PALETTE.length], true, (on) => { if (on) wanted.add(k); else wanted.delete(k); }));
    if (instruments.some((one) => one.drops.length)) chip(legend, "drops", "var(--warn)", true, (on) => { withDrops = on; });
    const plain = (v) => v;
    const visible = () => {
      const m = chosen.marks, from = firstAtLeast(m.x, view[0]), to = firstAtLeast(m.x, view[1] + 1e-9), found = [];
      for (let k = from; k < to; k++) if (wanted.has(m.account[k])) found.push(k);
      return found;
    };
    new Chart("price", {
      label: (v, step) => finely(v, step),
      logs: () => scaled === "log",
      extent() { return spread([[chosen, plain]]); },
      paint(c, t) {
        if (withDrops && chosen.refused.length) {
          const most = Math.max(...chosen.refused.map((d) => d[1])), wide = Math.max(1.5, (this.width / (view[1] - view[0])) * (whole / 240) - 1);
          c.fillStyle = t.warn; c.globalAlpha = 0.4;
          for (const [at, n] of chosen.refused) { const tall = 3 + 23 * Math.sqrt(n / most); c.fillRect(this.x(at) - wide / 2, this.top + this.tall - tall, wide, tall); }
          c.globalAlpha = 1;
        }
        band(c, this, chosen, plain, t.ink);
        stroke(c, this, chosen, plain, t.ink, 1.2);
        const found = visible(), m = chosen.marks, small = found.length > 500;
        for (const k of found) {
          const buy = m.quantity[k] > 0, was = m.after[k] - m.quantity[k];
          const opens = Math.abs(m.after[k]) > Math.abs(was) || (was !== 0 && was > 0 !== m.after[k] > 0 && m.after[k] !== 0);
          const x = this.x(m.x[k]), y = this.y(m.price[k]) + (small ? 0 : buy ? 9 : -9), r = small ? 2.2 : 5, way = buy ? -1 : 1;
          c.beginPath();
          c.moveTo(x, y + way * r); c.lineTo(x - r, y - way * r * 0.8); c.lineTo(x + r, y - way * r * 0.8); c.closePath();
          c.fillStyle = c.strokeStyle = buy ? t.gain : t.loss;
          c.lineWidth = 1.4;
          if (opens) { c.fill(); } else { c.save(); c.fillStyle = t.card; c.fill(); c.restore(); c.stroke(); }
        }
      },
      tell(at) {
        const rows = [[moment(toTime(at)) + " UTC", ""], [chosen.symbol, price(chosen.last[before(chosen, at)])]];
        const m = chosen.marks;
        const near = visible().filter((k) => Math.abs(this.x(m.x[k]) - this.x(at)) < 8).sort((a, b) => Math.abs(m.x[a] - at) - Math.abs(m.x[b] - at));
        for (const k of near.slice(0, 5)) {
          const who = names[m.account[k]] || main.name, side = m.quantity[k] > 0 ? "BUY" : "SELL";
          rows.push([`${who}: ${side} ${grouped(Math.abs(m.quantity[k]), 0)} at ${price(m.price[k])}`, m.realised[k] ? money(m.realised[k]) : `→ ${grouped(m.after[k], 0)}`, m.quantity[k] > 0 ? theme().gain : theme().loss]);
        }
        if (near.length > 5) rows.push([`and ${near.length - 5} more fills`, ""]);
        const refused = chosen.refused.find((d) => Math.abs(d[0] - at) <= whole / 480);
        if (withDrops && refused) rows.push(["dropped signals", grouped(refused[1], 0), theme().warn]);
        return rows;
      },
    });
  }

  // ---- drops ---------------------------------------------------------------------------------------------------
  if (byId("drops")) {
    const kinds = data.drops.reasons.map((reason, k) => ({ reason: reason.replaceAll("_", " "), counts: data.drops.counts[k], colour: PALETTE[k % PALETTE.length], on: true }));
    const legend = byId("drops-legend");
    legend.classList.add("squares");
    kinds.forEach((kind) => chip(legend, `${kind.reason} ${grouped(kind.counts.reduce((a, b) => a + b, 0), 0)}`, kind.colour, true, (on) => { kind.on = on; }));
    const columns = kinds[0].counts.length, width = data.drops.width;
    const edges = Array.from({ length: columns + 1 }, (_, k) => toAxis(Math.min(k * width, data.span)));
    const sum = (k) => kinds.reduce((total, kind) => total + (kind.on ? kind.counts[k] : 0), 0);
    new Chart("drops", {
      count: 3, floor: 0,
      label: (v) => grouped(v, v % 1 ? 1 : 0),
      extent() { let most = 1; for (let k = 0; k < columns; k++) if (edges[k + 1] >= view[0] && edges[k] <= view[1]) most = Math.max(most, sum(k)); return [0, most]; },
      paint(c) {
        for (let k = 0; k < columns; k++) {
          if (edges[k + 1] < view[0] || edges[k] > view[1]) continue;
          const a = this.x(edges[k]), b = Math.max(a + 1, this.x(edges[k + 1]) - (this.x(edges[k + 1]) - a > 4 ? 1 : 0));
          let height = 0;
          for (const kind of kinds) {
            if (!kind.on || !kind.counts[k]) continue;
            c.fillStyle = kind.colour;
            const y = this.y(height + kind.counts[k]);
            c.fillRect(a, y, b - a, this.y(height) - y);
            height += kind.counts[k];
          }
        }
      },
      tell(at) {
        const k = Math.min(columns - 1, Math.max(0, firstAtLeast(edges, at + 1e-9) - 1));
        const rows = kinds.filter((kind) => kind.on && kind.counts[k]).map((kind) => [kind.reason, grouped(kind.counts[k], 0), kind.colour]);
        return [[moment(k * width) + " UTC", rows.length ? "" : "none"], ...rows];
      },
    });
  }

  // ---- tables --------------------------------------------------------------------------------------------------
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    [...table.tHead.rows[0].cells].forEach((cell, at) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") !== "descending" && (cell.classList.contains("number") || cell.getAttribute("aria-sort") === "ascending");
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => { const found = row.cells[at]; return found.dataset.key !== undefined ? Number(found.dataset.key) : found.textContent; };
        const rows = [...body.rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => (typeof a === "number" && typeof b === "number" ? a - b : typeof a === typeof b ? String(a).localeCompare(String(b)) : typeof a === "number" ? 1 : -1));
        if (down) rows.reverse();
        body.append(...rows.map(([, row]) => row));
      });
    });
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => { printing = true; view = [0, whole]; redraw(); });
  addEventListener("afterprint", () => { printing = false; redraw(); });
  document.documentElement.dataset.ready = "true";
})();
