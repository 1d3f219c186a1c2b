// Lets the search work where the site is opened from files: browsers start no worker from a file, so a
// hidden frame stands in for one. The theme asks for it by the name IFrameWorker.
"use strict";

class FrameWorker extends EventTarget {
  /** Load the script at `url` into a frame of its own. */
  constructor(url) {
    super();
    this.onmessage = null;
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    const ready = new Promise((resolve) => this.frame.addEventListener("load", resolve, { once: true }));
    this.frame.srcdoc = "<!doctype html><title>worker</title><body></body>";
    document.body.append(this.frame);
    this.started = ready.then(() => this.start(url));
  }

  /** Give the frame what a worker has, then run the script in it. */
  async start(url) {
    const inside = this.frame.contentWindow;
    const load = (address) =>
      new Promise((resolve, reject) => {
        const script = inside.document.createElement("script");
        script.addEventListener("load", resolve);
        script.addEventListener("error", reject);
        script.src = address;
        inside.document.body.append(script);
      });
    inside.importScripts = async (...addresses) => {
      for (const address of addresses) await load(address);
    };
    inside.postMessage = (data) => this.tell(data);
    await load(url);
  }

  /** Hand on to the page what the script says. */
  tell(data) {
    const event = new MessageEvent("message", { data });
    this.onmessage?.(event);
    this.dispatchEvent(event);
  }

  /** Hand on to the script what the page says, once it is there. */
  async postMessage(data) {
    await this.started;
    const inside = this.frame.contentWindow;
    inside.dispatchEvent(new inside.MessageEvent("message", { data }));
  }

  terminate() {
    this.frame.remove();
  }
}

if (location.protocol === "file:") window.IFrameWorker = window.Worker = FrameWorker;
