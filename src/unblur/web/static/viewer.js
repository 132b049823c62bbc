// Two pictures over each other: a line between them, zoom and pan, by mouse, touch and keyboard.

const MOST = 16;
const NEAR = 24;

export class Viewer {
  constructor(stage, cut, scale) {
    this.stage = stage;
    this.cut = cut;
    this.scaleShown = scale;
    [this.before, this.after] = stage.querySelectorAll(".layer img");
    this.size = [1, 1];
    this.fitted = true;
    [this.zoom, this.x, this.y] = [1, 0, 0];
    this.fingers = new Map();
    cut.addEventListener("input", () => this.setCut(cut.valueAsNumber));
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, (event) => this.fingers.delete(event.pointerId));
    }
    stage.addEventListener("dblclick", (event) => {
      if (this.fitted) this.zoomTo(Math.max(1, this.#fitting() * 2), this.#at(event));
      else this.fit();
    });
    stage.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // the page scrolls
      event.preventDefault();
      this.zoomTo(this.zoom * Math.exp(-event.deltaY / 200), this.#at(event));
    }, { passive: false });
    stage.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => (this.fitted ? this.fit() : this.#draw())).observe(stage);
    this.setCut(50);
  }

  /** Show a picture of that size; without `after` there is nothing to compare. */
  show(before, after, width, height) {
    for (const [image, url] of [[this.before, before], [this.after, after]]) {
      if (url) image.src = url;
      else image.removeAttribute("src");
    }
    this.stage.classList.toggle("single", !after);
    this.cut.disabled = !after;
    if (width !== this.size[0] || height !== this.size[1]) {
      this.size = [width, height];
      for (const image of [this.before, this.after]) [image.width, image.height] = this.size;
      this.stage.style.aspectRatio = width > 1 ? `${width} / ${height}` : "";
      this.fit();
    }
  }

  setCut(percent) {
    this.cut.value = percent;
    this.cut.setAttribute("aria-valuetext", `${Math.round(percent)} % before`);
    this.stage.style.setProperty("--cut", `${percent}%`);
  }

  setStrength(share) {
    this.after.style.opacity = share;
  }

  fit() {
    this.fitted = true;
    this.zoom = this.#fitting();
    this.#draw();
  }

  zoomTo(zoom, [x, y] = [this.stage.clientWidth / 2, this.stage.clientHeight / 2]) {
    const least = this.#fitting();
    if (zoom <= least) return this.fit();
    zoom = Math.min(zoom, Math.max(MOST, least));
    this.x = x - ((x - this.x) * zoom) / this.zoom;
    this.y = y - ((y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
    this.fitted = false;
    this.#draw();
  }

  #fitting() {
    const room = [this.stage.clientWidth / this.size[0], this.stage.clientHeight / this.size[1]];
    return Math.min(...room, 4) || 1;
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const [across, down] = this.size.map((side) => side * this.zoom);
    const held = (at, room, side) => (side <= room ? (room - side) / 2 : Math.min(0, Math.max(room - side, at)));
    this.x = held(this.x, width, across);
    this.y = held(this.y, height, down);
    for (const image of [this.before, this.after]) {
      image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    }
    this.stage.classList.toggle("zoomed", !this.fitted);
    this.stage.classList.toggle("pixels", !this.fitted && this.zoom >= 3);
    this.scaleShown.value = `${Math.round(this.zoom * 100)} %`;
  }

  #at(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #toCut(x) {
    this.setCut(Math.min(100, Math.max(0, (100 * x) / this.stage.clientWidth)));
  }

  #down(event) {
    if (event.button) return;
    const at = this.#at(event);
    const line = (this.cut.valueAsNumber / 100) * this.stage.clientWidth;
    this.stage.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, at);
    this.cutting = !this.cut.disabled && (this.fitted || Math.abs(at[0] - line) < NEAR);
    if (this.cutting && event.pointerType === "mouse") this.#toCut(at[0]);
  }

  #move(event) {
    const last = this.fingers.get(event.pointerId);
    if (!last) return;
    const at = this.#at(event);
    const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
    this.fingers.set(event.pointerId, at);
    if (other) {
      const spread = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      this.zoomTo((this.zoom * spread(at)) / Math.max(spread(last), 1), other);
    } else if (this.cutting) {
      this.#toCut(at[0]);
    } else if (!this.fitted) {
      this.x += at[0] - last[0];
      this.y += at[1] - last[1];
      this.#draw();
    }
  }

  #key(event) {
    if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (event.key === "+" || event.key === "=") this.zoomTo(this.zoom * 1.5);
    else if (event.key === "-") this.zoomTo(this.zoom / 1.5);
    else if (event.key === "0") this.fit();
    else if (event.key === "1") this.zoomTo(1);
    else if (steps[event.key] && !this.fitted) {
      this.x += steps[event.key][0];
      this.y += steps[event.key][1];
      this.#draw();
    } else return;
    event.preventDefault();
  }
}
