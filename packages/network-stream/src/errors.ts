import { defineError, defineErrors } from "@cpr/core";

/** What can go wrong with networks that go through a socket. */
export const streamErrors = defineErrors({
  ERR_CPR_NETWORK_CONNECT: defineError<{ id: string; address: string; reason: string }>({
    category: "input",
    when: "Nobody listens at the address of a `-netdev stream`, or it cannot be reached.",
    message: ({ id, address, reason }) => `Network '${id}': Failed to connect to '${address}': ${reason}`,
    hint: () => "Start what listens there first, or give reconnect-ms=MILLISECONDS.",
  }),
  ERR_CPR_NETWORK_LISTEN: defineError<{ id: string; address: string; reason: string }>({
    category: "input",
    when: "The address of a `-netdev stream,server=on` cannot be listened at.",
    message: ({ id, address, reason }) => `Network '${id}': Failed to listen at '${address}': ${reason}`,
  }),
  ERR_CPR_NETWORK_PASST_MISSING: defineError<{ id: string; program: string }>({
    category: "host",
    when: "`-netdev user` or `-netdev passt` needs the program passt, which is not there.",
    message: ({ id, program }) => `Network '${id}': the program '${program}' was not found`,
    hint: () => "Install it (Debian: apt-get install passt), or name it with -netdev passt,path=PROGRAM.",
  }),
  ERR_CPR_NETWORK_PASST: defineError<{ id: string; reason: string }>({
    category: "host",
    when: "The program passt does not start, e.g. because a port that it is to listen at is taken.",
    message: ({ id, reason }) => `Network '${id}': passt could not start: ${reason}`,
    hint: () => "If a VM that was saved still has the port, let that process end; then continue with `cont`.",
  }),
});
