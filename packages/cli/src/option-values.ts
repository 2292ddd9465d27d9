/** For commander: an option that may be repeated. */
export const collect = (value: string, previous: readonly string[]): readonly string[] => [...previous, value];
