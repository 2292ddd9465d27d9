/** Where modules are that threads import by their URLs. NOTE: when this one runs from its source (in a test), they are the built ones. */
function urlOf(name: string): string {
  return new URL(`${import.meta.url.endsWith(".ts") ? "../dist" : "."}/${name}.js`, import.meta.url).href;
}

/** Of `page-functions.ts`. */
export const pageFunctionsUrl: string = urlOf("page-functions");

/** Of `reclaim.ts`. */
export const reclaimUrl: string = urlOf("reclaim");
