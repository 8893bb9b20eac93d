// What must not stay in the address: a one-time code, and secrets that somebody has put there. It is taken out before anything else.

const SECRETS = /^(code|token|access_token|password|secret|auth|key|session)$/i;

const named = (text) => [...new URLSearchParams(text.slice(1)).keys()].some((name) => SECRETS.test(name));

/** The code of `#code=...`, "" without one; `stray` says whether there was a secret that is of no use there. */
export function takeSecrets() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code") ?? "";
  const stray = !code && (named(location.search) || named(location.hash));
  // The page has no use for a query, so there is nothing in one that is worth keeping.
  if (code || stray) history.replaceState(null, "", location.pathname);
  return { code, stray };
}

export const atArrival = takeSecrets();
