// A list that is read page by page and stays live. Each page is a query of its own that the cache keeps up to date, and
// begins where the one before it ends. If a refetched page ends elsewhere, those after it are fetched from there: the
// list has no gap and nothing twice, whatever has happened meanwhile.
import type { AnyVariables, Client, OperationResult, RequestPolicy, TypedDocumentNode } from "@urql/core";
import { useEffect, useRef, useState } from "react";
import { type Failure, failureOf, useAfterConnect, useConnection } from "./client";

export interface Page<Item> {
  items: Item[];
  /** The cursor that the next page begins at; null after the last one. */
  next: string | null;
}

export interface PagesRequest<Data, Variables, Item> {
  query: TypedDocumentNode<Data, Variables>;
  variablesAt(cursor: string | null): Variables;
  pageOf(data: Data): Page<Item> | null;
}

export interface Pages<Data, Item> {
  /** The newest result's data as a whole, of the first page. */
  data: Data | undefined;
  items: Item[];
  isLoading: boolean;
  hasMore: boolean;
  failure: Failure | null;
}

interface Followed<Data, Item> {
  cursor: string | null;
  data?: Data;
  page?: Page<Item> | null;
  failure?: Failure;
  isFetching: boolean;
  stop(): void;
}

function followPages<Data, Variables extends AnyVariables, Item>(
  client: Client,
  { query, variablesAt, pageOf }: PagesRequest<Data, Variables, Item>,
  tell: (pages: Pages<Data, Item>) => void,
) {
  const followed: Followed<Data, Item>[] = [];
  let wanted = 1;

  function follow(index: number, cursor: string | null, requestPolicy: RequestPolicy) {
    const before = followed[index];
    before?.stop();
    // Until the new page is there, the one that it replaces stays.
    const page: Followed<Data, Item> = { ...before, cursor, failure: undefined, isFetching: true, stop: () => {} };
    followed[index] = page;
    const { unsubscribe } = client.query(query, variablesAt(cursor), { requestPolicy }).subscribe((result) => {
      if (followed[index] === page) settle(index, page, result);
    });
    page.stop = unsubscribe;
  }

  function settle(index: number, page: Followed<Data, Item>, { data, error, stale }: OperationResult<Data, Variables>) {
    page.isFetching = stale;
    page.failure = error && failureOf(error);
    if (data) {
      page.data = data;
      page.page = pageOf(data);
      continueAfter(index);
    }
    report();
  }

  function continueAfter(index: number) {
    const next = followed[index]?.page?.next ?? null;
    if (index + 1 >= wanted) return;
    if (next === null) followed.splice(index + 1).forEach((each) => each.stop());
    else if (followed[index + 1]?.cursor !== next) follow(index + 1, next, "cache-and-network");
  }

  function report() {
    const last = followed.at(-1);
    tell({
      data: followed[0]?.data,
      items: followed.flatMap(({ page }) => page?.items ?? []),
      isLoading: followed.some((each) => each.isFetching),
      hasMore: !!last?.page?.next,
      failure: followed.find((each) => each.failure)?.failure ?? null,
    });
  }

  function refetch() {
    for (const [index, { cursor }] of [...followed.entries()]) follow(index, cursor, "network-only");
    report();
  }

  follow(0, null, "cache-and-network");
  return {
    refetch,
    loadMore() {
      if (followed.some((each) => each.isFetching) || !followed.at(-1)?.page?.next) return;
      wanted = followed.length + 1;
      continueAfter(followed.length - 1);
      report();
    },
    stop: () => followed.forEach((each) => each.stop()),
  };
}

/** Follows a list from its first page on; another `key` is another list. */
export function usePages<Data, Variables extends AnyVariables, Item>(
  key: string,
  request: PagesRequest<Data, Variables, Item>,
) {
  const { client } = useConnection();
  const empty: Pages<Data, Item> & { key: string } = {
    key,
    data: undefined,
    items: [],
    isLoading: true,
    hasMore: false,
    failure: null,
  };
  const [pages, setPages] = useState(empty);
  const list = useRef<ReturnType<typeof followPages> | null>(null);

  useEffect(() => {
    const following = followPages(client, request, (found) => setPages({ ...found, key }));
    list.current = following;
    return () => following.stop();
    // The request is made anew at each rendering; `key` says when it is another one.
  }, [client, key]);
  useAfterConnect((isFirst) => {
    // With the first connection the list has just been read, unless that has failed.
    if (!isFirst || pages.failure) list.current?.refetch();
  });

  return {
    ...(pages.key === key ? pages : empty),
    loadMore: () => list.current?.loadMore(),
    refetch: () => list.current?.refetch(),
  };
}
