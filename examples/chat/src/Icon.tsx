const PATHS = {
  logo: "M4 5h16v11h-8l-5 4v-4H4z",
  menu: "M4 7h16M4 12h16M4 17h10",
  plus: "M12 5v14M5 12h14",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.5 4.5",
  memory: "M12 4l2.2 5.8L20 12l-5.800 2.200L12 20l-2.200-5.800L4 12l5.800-2.200z",
  context: "M5 4h14v16H5zM8.500 9h7M8.500 13h7M8.500 17h4",
  edit: "M5 19l1-4L16 5l3 3L9 18z",
  end: "M7 7h10v10H7z",
  reopen: "M6 12a6 6 0 1 1 2 4.500M6 19v-3h3",
  trash: "M5 7h14M9 7V4.500h6V7M7 7l1 13h8l1-13",
  send: "M12 19V5M6 11l6-6 6 6",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 5v14M6 13l6 6 6-6",
  tool: "M14 6a4 4 0 0 0 5 5l-8 8a2.500 2.500 0 0 1-4-4z",
};

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
