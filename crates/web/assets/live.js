// Keeps the parts marked data-live="NAME" fresh with fragments the server has rendered and escaped.
// Without this script every page works the same; it only has to be loaded again by hand.

const stage = document.querySelector("[data-events]");

if (stage) {
  const line = document.querySelector("[data-live-state]");
  const known = stage.dataset.state;
  // The server repeats itself at least every 15 seconds; three times that in silence is a broken line.
  const silenceMax = 45000;
  let heard = Date.now();
  let leaving = false;
  let source;

  // The answer to a pressed button must not be overtaken by the change of state that it caused.
  addEventListener("submit", () => {
    leaving = true;
  });
  // Back from the cache of pages, whatever happened meanwhile is unknown here.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });

  const show = (state) => {
    if (!line) return;
    line.dataset.liveState = state;
    line.textContent = line.dataset[`text${state[0].toUpperCase()}${state.slice(1)}`];
  };

  const note = () => {
    heard = Date.now();
    show("open");
  };

  const connect = () => {
    source?.close();
    heard = Date.now();
    source = new EventSource(stage.dataset.events);
    source.addEventListener("open", note);
    source.addEventListener("beat", note);
    source.addEventListener("error", () => {
      show("lost");
      // A refused stream (signed out, server busy) is closed for good: try again unhurriedly.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => document.hidden || connect(), 10000);
    });
    // A new state means other buttons: the page is loaded anew, without what it said last time.
    source.addEventListener("state", (event) => {
      note();
      if (event.data !== known && !leaving) location.replace(location.pathname);
    });
    for (const part of document.querySelectorAll("[data-live]")) {
      source.addEventListener(part.dataset.live, (event) => {
        note();
        part.innerHTML = event.data;
      });
    }
  };

  // A browser opens six connections to a site and no more. Pages that nobody sees give theirs back,
  // also those kept for the way back; otherwise the seventh page would wait for ever.
  addEventListener("pagehide", () => source?.close());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      show("waiting");
    } else {
      connect();
    }
  });

  setInterval(() => {
    if (!document.hidden && Date.now() - heard > silenceMax) show("lost");
  }, 5000);
  if (!document.hidden) connect();
}
