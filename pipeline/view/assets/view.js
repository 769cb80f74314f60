"use strict";
(async () => {
  const at = (id) => document.getElementById(id);
  const facts = await (await fetch("facts.json")).json();
  at("scan").textContent = `${facts.series_key}, ${facts.modality || "?"}${facts.recipe_id ? `, recipe ${facts.recipe_id}` : ""}`;

  const viewer = new niivue.Niivue({
    backColor: [0.05, 0.06, 0.08, 1],
    show3Dcrosshair: false,
    crosshairWidth: 0.3,
    sagittalNoseLeft: true,
    isRadiologicalConvention: true,
    isColorbar: false,
    logLevel: "error",
    onLocationChange: (place) => {
      const [x, y, z] = [-place.mm[0], -place.mm[1], place.mm[2]].map((millimetres) => millimetres.toFixed(1));
      at("place").textContent = `x ${x}, y ${y}, z ${z} mm (LPS): ${Number(place.values[0].value.toPrecision(4))} ${facts.unit || ""}`;
    },
  });
  await viewer.attachToCanvas(at("canvas"));
  const [low, high] = facts.window;
  const layers = [{ url: "volume.nii", name: "volume.nii", colormap: "gray", cal_min: low, cal_max: high }];
  const opacity = { lesions: 0.6, levels: 0.25 };
  for (const name of ["levels", "lesions"]) {
    if (facts.files.includes(`${name}.nii`)) {
      layers.push({
        url: `${name}.nii`, name: `${name}.nii`, opacity: opacity[name],
        colormap: name === "lesions" ? "red" : "random", cal_min: name === "lesions" ? 0.5 : 0, cal_max: name === "lesions" ? 1 : 255,
      });
    }
  }
  await viewer.loadVolumes(layers);
  viewer.setSliceType(viewer.sliceTypeMultiplanar);
  viewer.setInterpolation(true);

  for (const name of ["lesions", "levels"]) {
    const layer = layers.findIndex((one) => one.name === `${name}.nii`);
    const slider = at(`${name}-opacity`);
    slider.disabled = layer < 0;
    slider.addEventListener("input", () => viewer.setOpacity(layer, Number(slider.value)));
  }

  const show = (lesion, row) => {
    const [left, posterior, superior] = lesion.centroid_mm;
    viewer.scene.crosshairPos = viewer.mm2frac([-left, -posterior, superior]);
    viewer.createOnLocationChange();
    viewer.drawScene();
    document.querySelectorAll("tr[aria-current]").forEach((other) => other.removeAttribute("aria-current"));
    row.setAttribute("aria-current", "true");
  };
  for (const lesion of facts.lesions) {
    const row = at("lesions").insertRow();
    row.tabIndex = 0;
    const volume = lesion.volume_mm3 === null ? "" : (lesion.volume_mm3 / 1000).toPrecision(3);
    const score = lesion.score_max === null ? "" : lesion.score_max.toFixed(2);
    for (const text of [lesion.level || "", lesion.lesion_type || "", volume, score]) row.insertCell().textContent = text;
    row.addEventListener("click", () => show(lesion, row));
    row.addEventListener("keydown", (event) => { if (event.key === "Enter") show(lesion, row); });
  }
  at("none").hidden = facts.lesions.length > 0;
  if (!facts.recipe_id) at("none").textContent = "No result: lesions were not looked for in this scan.";
  if (facts.lesions.length) show(facts.lesions[0], at("lesions").rows[0]);
  at("state").textContent = "";
})().catch((error) => {
  document.getElementById("state").textContent = `cannot show this scan: ${error.message}`;
  console.error(error);
});
