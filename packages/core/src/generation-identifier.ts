/** A device that tells the guest by an identifier in its RAM which of several continuations of one VM it is. */
export interface GenerationIdentifier {
  /** Puts the identifier into RAM, for a guest that begins anew. */
  publish(): void;
}
