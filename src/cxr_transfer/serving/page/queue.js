// Jobs, a few at a time. Knows nothing of what they are.

export class Queue {
  #jobs = [];
  #running = 0;
  #atOnce;
  #isFirst;
  #work;

  /** `isFirst(job)` tells which waiting jobs go before the others; `work(job)` returns a promise. */
  constructor(atOnce, isFirst, work) {
    this.#atOnce = atOnce;
    this.#isFirst = isFirst;
    this.#work = work;
  }

  add(job) {
    this.#jobs.push(job);
    queueMicrotask(() => this.#start());
  }

  clear() {
    this.#jobs.length = 0;
  }

  #start() {
    while (this.#running < this.#atOnce && this.#jobs.length) {
      const [job] = this.#jobs.splice(Math.max(0, this.#jobs.findIndex(this.#isFirst)), 1);
      this.#running += 1;
      this.#work(job).finally(() => {
        this.#running -= 1;
        this.#start();
      });
    }
  }
}
