import type { DescService, MessageInitShape } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
} from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb";
import {
  type ListSavepointsRequestSchema,
  type Savepoint,
  SavepointService,
  SavepointState,
  type WatchSavepointRequestSchema,
} from "../gen/savepoint/v1/savepoint_pb";

const DEADLINE_MS = 10_000;
const MAX_ATTEMPTS = 4;

/**
 * What a service config does elsewhere; Connect has none. The contract itself says which methods
 * may be repeated: those marked NO_SIDE_EFFECTS. After an UNAVAILABLE the others may have changed
 * something, and only the caller can know whether to repeat them. WatchSavepoint is left out, too:
 * watchSavepoint repeats it, also after its first message.
 */
const retryWithoutSideEffects: Interceptor = (next) => async (request) => {
  const repeatable =
    !request.stream && request.method.idempotency === IdempotencyLevel.NO_SIDE_EFFECTS;
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(request);
    } catch (error) {
      const unavailable = ConnectError.from(error).code === Code.Unavailable;
      if (!repeatable || !unavailable || attempt === MAX_ATTEMPTS || request.signal.aborted) {
        throw error;
      }
      // Full jitter, so that many pages do not come back in step.
      const waitMs = Math.random() * Math.min(1_000, 100 * 2 ** attempt);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }
};

// snippet:begin
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 10_000;

/** A watch has ended, and its savepoint is not complete. */
export class SavepointFailedError extends Error {
  constructor(readonly savepoint?: Savepoint) {
    const { providerState, failure } = savepoint?.status ?? {};
    super(`savepoint ${savepoint?.savepointId} is ${providerState}: ${failure?.message ?? ""}`);
  }
}

/** Whether a watch that ended so says nothing about its savepoint. */
function isToBeWatchedAgain({ code, cause }: ConnectError): boolean {
  // fetch() reports a connection that broke, or that was refused, as a TypeError.
  return code === Code.Unavailable || code === Code.DeadlineExceeded || cause instanceof TypeError;
}

export function connect(baseUrl: string): Client<typeof SavepointService> {
  // For example: await connect(url).getSavepoint({ namespace, savepointId }, { timeoutMs: 5_000 })
  // importSavepoint() and createSavepoint() are never repeated: if the outcome of a creation is
  // unknown, listSavepoints() of the deployment tells it.
  return connectTo(SavepointService, baseUrl);
}

/** A client of any service of the gateway. */
export function connectTo<T extends DescService>(service: T, baseUrl: string): Client<T> {
  const transport = createGrpcWebTransport({
    baseUrl,
    defaultTimeoutMs: DEADLINE_MS,
    interceptors: [retryWithoutSideEffects],
  });
  return createClient(service, transport);
}

/** Waits until the savepoint is complete. One that failed rejects with SavepointFailedError. */
export async function watchSavepoint(
  client: Client<typeof SavepointService>,
  request: MessageInitShape<typeof WatchSavepointRequestSchema>,
  timeoutMs: number,
): Promise<Savepoint> {
  const deadline = Date.now() + timeoutMs;
  for (let backoffMs = FIRST_BACKOFF_MS; ; backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)) {
    let savepoint: Savepoint | undefined;
    try {
      // Zero would mean no limit.
      const options = { timeoutMs: Math.max(1, deadline - Date.now()) };
      for await (const message of client.watchSavepoint(request, options)) {
        savepoint = message.savepoint;
        backoffMs = FIRST_BACKOFF_MS;
      }
    } catch (error) {
      // Jitter, because many watches may have ended together.
      const waitMs = backoffMs * (1 + Math.random()) / 2;
      const again = isToBeWatchedAgain(ConnectError.from(error));
      if (!again || Date.now() + waitMs >= deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      continue;
    }
    if (savepoint?.status?.state === SavepointState.COMPLETED) return savepoint;
    throw new SavepointFailedError(savepoint);
  }
}

/** The savepoints of all pages. */
export async function* listSavepoints(
  client: Client<typeof SavepointService>,
  request: MessageInitShape<typeof ListSavepointsRequestSchema>,
): AsyncGenerator<Savepoint> {
  let pageToken = "";
  do {
    const page = await client.listSavepoints({ ...request, pageToken });
    yield* page.savepoints;
    pageToken = page.nextPageToken;
  } while (pageToken);
}

export function detailsOf(failure: ConnectError) {
  return {
    errorInfo: failure.findDetails(ErrorInfoSchema)[0],
    badRequest: failure.findDetails(BadRequestSchema)[0],
    requestInfo: failure.findDetails(RequestInfoSchema)[0],
    retryInfo: failure.findDetails(RetryInfoSchema)[0],
  };
}
// snippet:end
