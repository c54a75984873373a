/** The admin token: kept as long as this tab lives, so that a reload does not ask again. */

const KEPT = "eman.admin_token";
let token = "";

try { token = sessionStorage.getItem(KEPT) ?? ""; } catch { /* storage is off: the token lasts as long as the page */ }

/** @returns {string} empty when none was given */
export function adminToken() {
  return token;
}

export function keepToken(given) {
  token = given;
  try {
    if (given) sessionStorage.setItem(KEPT, given);
    else sessionStorage.removeItem(KEPT);
  } catch { /* see above */ }
}
