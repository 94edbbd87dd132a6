for (const range of document.querySelectorAll("input[type=range]")) {
  const both = range.previousElementSibling;
  range.addEventListener("input", () => both.style.setProperty("--share", range.value + "%"));
}
const filter = document.getElementById("filter");
filter?.addEventListener("change", () => {
  const wanted = Object.fromEntries(new FormData(filter));
  for (const section of document.querySelectorAll("section")) {
    section.hidden = Object.entries(wanted).some(
      ([name, value]) => value !== "" && section.dataset[name] !== value,
    );
  }
});
