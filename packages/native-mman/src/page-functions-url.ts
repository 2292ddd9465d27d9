/** Where the module `page-functions.ts` is. NOTE: when this module runs from its source (in a test), it is the built one. */
export const pageFunctionsUrl: string = new URL(
  import.meta.url.endsWith(".ts") ? "../dist/page-functions.js" : "./page-functions.js",
  import.meta.url,
).href;
