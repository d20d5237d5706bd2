"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const LOOK_MS = 2000, MOST_EVENTS = 200;
  const BUTTONS = {
    WARMUP: ["pause", "stop"], ACTIVE: ["pause", "stop"], PAUSED: ["resume", "stop"], ERROR: ["pause", "stop"],
    STOPPED: ["enable"], INIT: ["stop"],
  };
  const TONES = { ACTIVE: "good", WARMUP: "", PAUSED: "warn", ERROR: "bad", STOPPED: "bad" };
  let token = sessionStorage.getItem("anystrat.token") || "", killed = false, lastId = null, following = null;

  const headers = (more) => token ? { ...more, authorization: `Bearer ${token}` } : { ...more };
  const made = (name, text, className) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const number = (value) => value === null || value === undefined ? "–" : value.toLocaleString("en");
  const money = (value) => value === null ? "–" : value.toLocaleString("en", { maximumFractionDigits: 2, minimumFractionDigits: 2 });
  const plural = (count, word) => `${number(count)} ${word}${count === 1 ? "" : "s"}`;
  const badge = (element, text, tone) => { element.textContent = text; element.className = `badge ${tone || ""}`; };
  const say = (text) => { at("message").textContent = text; at("message").hidden = !text; };

  const ask = async (path, method, body) => {
    const options = { method: method || "GET", headers: headers(body ? { "content-type": "application/json" } : {}), cache: "no-store" };
    if (body) options.body = JSON.stringify(body);
    const answer = await fetch(path, options);
    const said = await answer.json();
    if (!answer.ok && said.error) throw Object.assign(new Error(said.error.message), { status: answer.status });
    return said;
  };
  const act = async (path, method, body) => {
    try { await ask(path, method, body); say(""); await look(); }
    catch (error) { say(error.status === 401 || error.status === 403 ? `${error.message}. Give a token below.` : error.message); }
  };

  const strategy = (one, accounts) => {
    const card = made("article", undefined, "card"), title = made("h3", one.strategy_id), state = made("span", one.state);
    badge(state, one.state, TONES[one.state]);
    title.append(state);
    const drops = Object.entries(one.drops).map(([reason, count]) => `${reason} ${number(count)}`).join(", ");
    const account = accounts.get(`${one.strategy_id}\n${one.broker}`);
    card.append(title, made("p", `${one.strategy_type} on ${one.broker}, ${plural(one.instruments, "instrument")}`),
      made("p", `${plural(one.signals, "signal")} of ${plural(one.evaluations, "evaluation")}${one.errors ? `, ${plural(one.errors, "error")}` : ""}`),
      made("p", drops ? `dropped: ${drops}` : "nothing dropped"));
    if (account) card.append(made("p", `P&L ${money(account.net)}, ${plural(account.positions.length, "open position")}`));
    const buttons = made("div", undefined, "buttons");
    for (const operation of BUTTONS[one.state] || []) {
      const button = made("button", operation);
      button.type = "button";
      button.setAttribute("aria-label", `${operation} ${one.strategy_id} on ${one.broker}`);
      button.onclick = () => {
        if (operation === "stop" && !confirm(`Stop ${one.strategy_id} on ${one.broker} for good?`)) return;
        button.disabled = true;
        act("/v1/commands", "POST", { operation, strategy: one.strategy_id, broker: one.broker });
      };
      buttons.append(button);
    }
    card.append(buttons);
    return card;
  };
  const broker = (one) => {
    const card = made("article", undefined, "card"), title = made("h3", one.broker), state = made("span");
    badge(state, one.ready ? "ready" : one.breaker, one.ready ? "good" : "bad");
    title.append(state);
    const other = ["rejected", "expired", "dead", "unknown", "retries"].filter((name) => one[name]).map((name) => `${name} ${number(one[name])}`);
    card.append(title, made("p", `${one.type}: ${number(one.acked)} delivered, ${number(one.queued)} waiting`));
    if (other.length) card.append(made("p", other.join(", ")));
    if (one.problem) card.append(made("p", one.problem));
    return card;
  };
  const figure = (title, value) => { const box = made("div"); box.append(made("dt", title), made("dd", value)); return box; };

  // A card that is being pressed, or has the keyboard, stays until that is over.
  const replaced = (place, cards) => { if (!place.matches(":focus-within, :active")) place.replaceChildren(...cards); };

  const show = (status, positions) => {
    document.title = `${status.run} · anystrat`;
    at("run").textContent = status.run;
    badge(at("state"), status.ready ? status.phase : `${status.phase}, not ready`, status.ready ? "good" : "warn");
    killed = status.killed;
    at("killed").hidden = !killed;
    at("kill").hidden = false;
    at("kill").textContent = killed ? "Send again" : "Stop sending";
    const troubles = Object.entries(status.troubles).map(([part, why]) => `${part}: ${why}`).join("; ");
    at("troubles").textContent = troubles;
    at("troubles").hidden = !troubles;
    const sum = (name) => status.strategies.reduce((total, one) => total + one[name], 0);
    at("figures").replaceChildren(
      figure("ticks", number(status.ticks.processed)), figure("signals", number(sum("signals"))),
      figure("waiting to be sent", number(status.brokers.reduce((total, one) => total + one.queued, 0))),
      figure("P&L, realised", money(positions.realised)), figure("P&L, open", money(positions.unrealised)));
    const accounts = new Map(positions.accounts.map((one) => [`${one.strategy_id}\n${one.broker}`, one]));
    replaced(at("strategies"), status.strategies.map((one) => strategy(one, accounts)));
    replaced(at("brokers"), status.brokers.map(broker));
  };
  const look = async () => {
    try {
      const [status, positions] = await Promise.all([ask("/v1/status"), ask("/v1/positions")]);
      show(status, positions);
      if (!following) follow();
    } catch (error) {
      badge(at("state"), error.status === 401 ? "needs a token" : "not answering", "bad");
      if (error.status !== 401) return;
      say("Give a token below to see anything.");
    }
  };

  const words = (kind, one) => ({
    signal: () => `${one.strategy_id} on ${one.broker}: ${one.signal_type} ${number(one.quantity)} of ${one.instrument_token} at ${one.price}. ${one.reasoning}`,
    drop: () => `${one.reason}: ${one.strategy_id} on ${one.broker}, ${one.signal_type} ${number(one.quantity)} of ${one.instrument_token} at ${one.price}`,
    transition: () => `${one.strategy_id} on ${one.broker}: ${one.before} → ${one.after} (${one.trigger})`,
    fill: () => `${one.strategy_id} on ${one.broker}: ${number(one.quantity)} of ${one.instrument_token} at ${one.price}, now ${number(one.position)}`,
    error: () => `${one.strategy_id}: ${one.error}`,
    note: () => `${one.note}${one.strategy_id ? `: ${one.strategy_id}` : ""}`,
    breaker: () => `${one.broker}: ${one.before} → ${one.after} ${one.reason}`,
    dead_letter: () => `${one.strategy_id} on ${one.broker}: ${one.reason}`,
    gap: () => "some is missing here", cut: () => "too much at once: some is missing here",
    expired: () => `${plural(one.count, "signal")} to ${one.broker} expired unsent`,
  }[kind] || (() => JSON.stringify(one)))();
  const told = (events) => {
    const list = at("events"), rows = events.slice(-MOST_EVENTS).map(([kind, one]) => {
      const row = made("li", undefined, `k-${kind}${kind === "signal" || kind === "drop" ? "" : " k-other"}`), time = made("time");
      time.textContent = one.ts_ns ? new Date(one.ts_ns / 1e6).toISOString().slice(11, 23) : "";
      row.append(time, made("span", kind.replace("_", " "), "kind"), made("span", words(kind, one)));
      return row;
    });
    list.querySelector(".none")?.remove();
    list.prepend(...rows.reverse());
    while (list.children.length > MOST_EVENTS) list.lastChild.remove();
  };
  const follow = async () => {
    const mine = following = new AbortController();
    try {
      const more = lastId ? { "last-event-id": lastId } : {};
      const answer = await fetch("/v1/events?recent=100", { headers: headers(more), signal: mine.signal, cache: "no-store" });
      if (!answer.ok) return;
      badge(at("live"), "live", "good");
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        const events = [];
        for (const block of blocks) {
          const fields = {};
          for (const line of block.split("\n")) { const colon = line.indexOf(": "); if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 2); }
          if (fields.id) lastId = fields.id;
          if (fields.data) events.push([fields.event, JSON.parse(fields.data)]);
        }
        if (events.length) told(events);
      }
    } catch { /* it went away, and is asked again */ } finally {
      if (following === mine) { following = null; badge(at("live"), "off", ""); }
    }
  };

  at("kill").onclick = () => {
    const question = killed ? "Let signals go out again?" : "Stop sending? No send begins until somebody lets them go out again.";
    if (confirm(question)) act("/v1/kill", "PUT", { on: !killed, reason: "from the page" });
  };
  at("login").onsubmit = (event) => {
    event.preventDefault();
    token = at("token").value.trim();
    sessionStorage.setItem("anystrat.token", token);
    at("token").value = "";
    say("");
    following?.abort();
    following = null;
    look();
  };
  for (const box of document.querySelectorAll(".filters input")) {
    box.onchange = () => at("events").classList.toggle(`no-${box.value}`, !box.checked);
  }
  at("events").append(made("li", "Nothing yet.", "none"));
  look();
  setInterval(look, LOOK_MS);
})();
