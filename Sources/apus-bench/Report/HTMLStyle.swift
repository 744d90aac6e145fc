/// The page's style sheet: light or dark as the reader's system is.
enum HTMLStyle {
    static let text = """
        :root { color-scheme: light dark; --paper: #fcfcfb; --ink: #1a1a19; --soft: #5f5e59; --rule: #e3e2dd;
          --raised: #ffffff; --good: #107a3c; --bad: #c0312b; --warn: #fff4d6;
          --c0: #2a78d6; --c1: #e0612a; --c2: #169c6d; --c3: #c98500; --c4: #d6568a; --c5: #4a3aa7; --c6: #5b7a12;
          --c7: #8a8983; }
        @media (prefers-color-scheme: dark) { :root { --paper: #181817; --ink: #f1f0ec; --soft: #a9a8a1; --rule: #34332f;
          --raised: #20201e; --good: #4fc27a; --bad: #f0736c; --warn: #3a3115;
          --c0: #4a94ec; --c1: #ec7a45; --c2: #2fb887; --c3: #e0a52c; --c4: #e47fa8; --c5: #a097f0; --c6: #9dbb45;
          --c7: #8f8e88; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto,
          "Helvetica Neue", "DejaVu Sans", sans-serif; }
        main { max-width: 1200px; margin: 0 auto; padding: 28px 24px 80px; }
        h1 { font-size: 26px; margin: 0 0 14px; }
        h2 { font-size: 19px; margin: 36px 0 8px; }
        h3 { font-size: 15px; margin: 24px 0 6px; }
        section { border-top: 1px solid var(--rule); margin-top: 40px; }
        section h2 { margin-top: 24px; }
        code { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .92em; background: var(--rule);
          padding: 1px 7px; border-radius: 4px; margin-right: 6px; }
        a { color: var(--c0); text-decoration: none; }
        a:hover { text-decoration: underline; }
        nav { margin: 20px 0 0; display: flex; flex-wrap: wrap; gap: 4px 18px; }
        .facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 8px 24px; margin: 0; }
        .facts dt { color: var(--soft); font-size: 12px; }
        .facts dd { margin: 0; overflow-wrap: anywhere; }
        .method { color: var(--soft); max-width: 100ch; margin: 0 0 14px; }
        .warning, .fault { padding: 8px 14px; border-radius: 6px; margin: 14px 0; background: var(--warn);
          white-space: pre-wrap; }
        .fault { background: none; border: 1px solid var(--bad); color: var(--bad); }
        .scroll { overflow-x: auto; }
        table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
        th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top;
          font-weight: 400; }
        thead th { color: var(--soft); font-size: 12.5px; vertical-align: bottom; line-height: 1.3; }
        th.n, td.n { text-align: right; padding-left: 14px; white-space: nowrap; }
        thead th.n { white-space: normal; }
        td small, th small, figcaption small { display: block; color: var(--soft); font-size: 11.5px; line-height: 1.3; }
        tbody th { min-width: 9em; }
        .goals .reason { color: var(--soft); font-size: 13px; max-width: 70ch; }
        .met { color: var(--good); white-space: nowrap; }
        .missed { color: var(--bad); white-space: nowrap; }
        .unknown { color: var(--soft); white-space: nowrap; }
        .gauge { width: 120px; height: 12px; margin-top: 6px; display: block; }
        .gauge .track { fill: var(--rule); }
        .gauge .good { fill: var(--good); }
        .gauge .bad { fill: var(--bad); }
        .gauge .limit { stroke: var(--ink); stroke-width: 1.5; }
        .charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(480px, 100%), 1fr)); gap: 20px; }
        figure { margin: 0; padding: 14px 16px 10px; background: var(--raised); border: 1px solid var(--rule);
          border-radius: 8px; min-width: 0; }
        figure.wide { grid-column: 1 / -1; }
        figure > svg { width: 100%; height: auto; display: block; }
        figcaption { font-weight: 600; line-height: 1.35; margin-bottom: 6px; }
        figcaption small { font-weight: 400; font-size: 12.5px; }
        .legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 0 0 6px; font-size: 12.5px; }
        .legend span { display: inline-flex; align-items: center; gap: 6px; }
        .legend svg { width: 22px; height: 12px; }
        .t { fill: var(--soft); font-size: 11.5px; }
        .strong { font-size: 12px; }
        .value { fill: var(--ink); font-size: 11px; }
        .grid { stroke: var(--rule); }
        .axis { stroke: var(--soft); }
        .curve { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
        .dashed { stroke-dasharray: 5 4; }
        .dot { fill: currentColor; stroke: var(--raised); stroke-width: 1; }
        .bar { fill: currentColor; }
        .whisker { stroke: currentColor; stroke-width: 1.2; opacity: .8; }
        .ink { color: var(--ink); }
        .s0 { color: var(--c0); } .s1 { color: var(--c1); } .s2 { color: var(--c2); } .s3 { color: var(--c3); }
        .s4 { color: var(--c4); } .s5 { color: var(--c5); } .s6 { color: var(--c6); } .s7 { color: var(--c7); }
        @media print { main { max-width: none; } figure { break-inside: avoid; } }
        """
}
