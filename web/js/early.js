/** Before anything is painted: a page that goes on with a conversation must not show the first screen for a moment. */
(() => {
  let kept = null;
  try { kept = sessionStorage.getItem("eman.ticket"); } catch { /* then a reload begins anew */ }
  if (kept || location.hash.includes("session=")) document.documentElement.dataset.resuming = "";
})();
