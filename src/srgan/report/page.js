// Turns each gallery of crops into one picture with a slider; without this, all pictures are simply shown.
for (const gallery of document.querySelectorAll(".time")) {
  const slider = gallery.querySelector("input"), frames = [...gallery.querySelectorAll(".frame")];
  if (frames.length < 2) continue;
  const show = () => {
    frames.forEach((frame, i) => frame.classList.toggle("now", i === Number(slider.value)));
    slider.setAttribute("aria-valuetext", frames[slider.value].querySelector("figcaption").textContent);
  };
  slider.addEventListener("input", show);
  gallery.classList.add("live");
  show();
}
